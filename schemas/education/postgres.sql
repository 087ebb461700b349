-- 教育部门示例库。学生、学校、证件号码均为虚构。
-- PostgreSQL 14 起；与 sample.sql 相同的表和行，列用 PostgreSQL 自己的类型。

CREATE TABLE public.students (
  student_no    varchar(20) PRIMARY KEY,
  full_name     text NOT NULL,
  id_number     text,
  birth_date    date NOT NULL,
  guardian_name text,
  school_code   varchar(16) NOT NULL,
  grade         integer NOT NULL,
  status        text NOT NULL,
  boarding      boolean NOT NULL,
  entered_on    date NOT NULL,
  health_note   text
);

CREATE TABLE public.enrolments (
  student_no    varchar(20) NOT NULL,
  school_year   integer NOT NULL,
  school_code   varchar(16) NOT NULL,
  programme     text NOT NULL,
  registered_at timestamp NOT NULL,
  first_lesson  time,
  tuition       numeric(10,2) NOT NULL,
  subsidy       numeric(10,2),
  hardship      boolean NOT NULL,
  PRIMARY KEY (student_no, school_year)
);

CREATE TABLE public.degrees (
  certificate_no varchar(20) PRIMARY KEY,
  holder_name    text NOT NULL,
  institution    text NOT NULL,
  level          text NOT NULL,
  major          text NOT NULL,
  awarded_on     date NOT NULL,
  average_score  double precision,
  credit_ratio   double precision,
  comment        text
);

INSERT INTO public.students VALUES
  ('G990102001', '陈一诺', '990104201009010047', '2010-09-01', '陈思远', 'S990102007', 10, '在读', false, '2026-09-01', NULL),
  ('G990102002', '苏子墨', '990102201105176052', '2011-05-17', '林婉清', 'S990102007', 9, '在读', false, '2023-09-01', '花生过敏'),
  ('G990102003', '赵海星', NULL, '2013-01-30', '赵德生', 'S990103002', 7, '转入', true, '2026-02-23', NULL),
  ('G990102004', '何知夏', '990104200412302061', '2004-12-30', NULL, 'U990000001', 15, '休学', true, '2023-09-04', NULL);

INSERT INTO public.enrolments VALUES
  ('G990102001', 2026, 'S990102007', '高一（3）班', '2026-08-29 09:10:00', '08:00:00', '0.00', NULL, false),
  ('G990102002', 2026, 'S990102007', '初三（1）班', '2026-08-29 09:42:18', '08:00:00', '0.00', NULL, false),
  ('G990102003', 2026, 'S990103002', '初一（2）班', '2026-08-30 14:05:33', '08:10:00', '0.00', '1500.00', true),
  ('G990102004', 2026, 'U990000001', '水利水电工程', '2026-09-03 10:20:00', NULL, '5460.00', '2000.00', true);

INSERT INTO public.degrees VALUES
  ('D9900012014000017', '陈思远', '示范理工大学', '硕士', '控制工程', '2014-06-27', 87.25, 1.0, '论文选题紧扣生产，数据扎实。'),
  ('D9900012014000018', '林婉清', '云溪师范学院', '学士', '汉语言文学', '2014-06-20', 91.5, 1.0, NULL),
  ('D9900012008000019', '周立群', '示范理工大学', '博士', '电子科学与技术', '2008-12-31', NULL, 0.97, '独立完成实验平台，创新性强。');
